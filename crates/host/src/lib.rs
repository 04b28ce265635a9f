//! What the program has of the machine: whole-file reads and writes, digests, memory, processor and threads.

mod digest;
mod error;
mod files;
mod machine;
pub mod memory;

pub use digest::{digest_of, hex, sha256_hex, sha256_of, sha256_while};
pub use error::{Error, Result};
pub use files::{check_writable, read, write_atomically};
pub use machine::{MOST_THREADS, cpu_model, set_threads};
