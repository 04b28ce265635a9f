//! The tensors that a decoder is made of.

use super::config::DecoderConfig;
use super::families::Family;

impl DecoderConfig {
    /// Every tensor by the name that transformers gives it, with its shape: embeddings, blocks from the bottom, norm, language head. The
    /// head is left out where it is the table of embeddings.
    pub fn parameters(&self) -> Vec<(String, Vec<usize>)> {
        let table = vec![self.vocab_size, self.hidden_size];
        let mut all = vec![(Family::embedding() + ".weight", table.clone())];
        for block in 0..self.blocks.len() {
            let path = Family::block(block);
            all.extend(self.parameters_of_block().into_iter().map(|(name, shape)| (path.clone() + &name, shape)));
        }
        all.push((Family::last_norm() + ".weight", vec![self.hidden_size]));
        if !self.tied {
            all.push((format!("{}.weight", Family::LANGUAGE_HEAD), table));
        }
        all
    }

    fn parameters_of_block(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, inner, head) = (self.hidden_size, self.intermediate_size, self.head_dim);
        let (queries, keys) = (self.heads * head, self.kv_heads * head);
        let biases = self.biases;
        let attention = [
            (queries, hidden, biases.query_key_value),
            (keys, hidden, biases.query_key_value),
            (keys, hidden, biases.query_key_value),
            (hidden, queries, biases.attention_output),
        ];
        let mlp = [(inner, hidden, biases.mlp), (inner, hidden, biases.mlp), (hidden, inner, biases.mlp)];
        let maps = Family::ATTENTION.into_iter().zip(attention).chain(Family::MLP.into_iter().zip(mlp));
        let maps = maps.flat_map(|(name, (d_out, d_in, has_bias))| {
            let bias = has_bias.then(|| (format!("{name}.bias"), vec![d_out]));
            [Some((format!("{name}.weight"), vec![d_out, d_in])), bias].into_iter().flatten()
        });
        let norms = self.family.norms.into_iter().flatten().map(|name| (name, hidden));
        let norms = norms.chain(self.family.qk_norms.into_iter().flatten().map(|name| (name, head)));
        maps.chain(norms.map(|(name, width)| (format!("{name}.weight"), vec![width]))).collect()
    }
}
