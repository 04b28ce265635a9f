//! How the time of the harness's inner loops grows with their work.

use std::hint::black_box;
use std::time::Instant;

use crate::dynamics::{Pair, Problem, expected_gradient};
use crate::error::Result;
use crate::evidence::regression;
use crate::layer::{Dropout, Layer, Site};
use crate::random::{normal, stream};

/// Growth of a loop's time.
#[derive(Debug, Clone)]
pub struct Exponent {
    /// The loop.
    pub of: &'static str,
    /// What was varied.
    pub varied: &'static str,
    /// Its values.
    pub values: Vec<usize>,
    /// Seconds at each, the least of five.
    pub seconds: Vec<f64>,
    /// Slope of log seconds on log value.
    pub exponent: f64,
    /// Its standard error.
    pub standard_error: f64,
}

fn measure(of: &'static str, varied: &'static str, values: &[usize], mut run: impl FnMut(usize)) -> Exponent {
    // Nothing is measured while the processor wakes up.
    run(values[values.len() - 1]);
    let seconds: Vec<f64> = values
        .iter()
        .map(|&value| {
            let once = |_| {
                let started = Instant::now();
                run(value);
                started.elapsed().as_secs_f64()
            };
            (0..5).map(once).fold(f64::INFINITY, f64::min)
        })
        .collect();
    let logs = |values: &mut dyn Iterator<Item = f64>| values.map(f64::ln).collect::<Vec<f64>>();
    let (exponent, standard_error, _) =
        regression(&logs(&mut values.iter().map(|&value| value as f64)), &logs(&mut seconds.iter().copied()));
    Exponent { of, varied, values: values.to_vec(), seconds, exponent, standard_error }
}

/// Measures the loops of which the full grid is made, in a few seconds. Work is linear in each of the sizes that are varied.
///
/// # Errors
/// Never in fact: the sizes are valid.
pub fn exponents() -> Result<Vec<Exponent>> {
    let mut random = stream(0, 0);
    let dropout = Dropout::new(0.2)?;
    let layer =
        Layer::new(normal((8, 256), 1.0, &mut random), normal((8, 8), 1.0, &mut random), 1.0, Site::Rank, dropout)?;
    let x = normal((256, 1), 1.0, &mut random).column(0).to_owned();
    let mut found = vec![measure("samples of a layer", "samples", &[500, 1000, 2000, 4000, 8000], |samples| {
        for _ in 0..samples {
            black_box(layer.sample(x.view(), &mut random));
        }
    })];
    let mut step = |of, varied, sizes: &[usize], at: fn(usize) -> (usize, usize, usize)| {
        found.push(measure(of, varied, sizes, |size| {
            let (d, n, steps) = at(size);
            let mut random = stream(1, 0);
            let pair = Pair { a: normal((8, d), 1.0, &mut random), b: normal((4, 8), 1.0, &mut random) };
            let problem = Problem { x: normal((d, n), 1.0, &mut random), y: normal((4, n), 1.0, &mut random) };
            for _ in 0..steps {
                black_box(expected_gradient(&problem, &pair, 1.0, dropout));
            }
        }));
    };
    step("gradient of the expected loss", "steps", &[1000, 2000, 4000, 8000], |steps| (24, 8, steps));
    step("gradient of the expected loss", "d", &[128, 256, 512, 1024, 2048], |d| (d, 32, 200));
    step("gradient of the expected loss", "n", &[32, 64, 128, 256, 512], |n| (128, n, 200));
    Ok(found)
}
