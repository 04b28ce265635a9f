//! Networks from files: encoders and decoders.

pub(crate) mod decoder;
pub(crate) mod encoder;

use std::path::Path;

use crate::backbone::Backbone;
use crate::decoder::is_decoder;
use crate::error::Result;
use crate::place::Place;

impl Backbone {
    /// Reads a model: a folder with `config.json` and weights (`model.safetensors`, its shards, or of an encoder `pytorch_model.bin`), or
    /// a decoder in a GGUF file. A device alone is a place in f32.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) or [`Error::File`](crate::Error::File) naming the file, for a file that is missing, truncated, of
    /// other sizes than the configuration says, or not finite.
    pub fn load(model: &Path, place: impl Into<Place>) -> Result<Self> {
        let place = place.into();
        if is_decoder(model)? { decoder::load(model, place) } else { encoder::load(model, place) }
    }
}
