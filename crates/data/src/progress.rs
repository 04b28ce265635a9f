//! What a long computation tells whoever waits for it. Libraries never print; the command line implements this.

/// Receives progress. Work is counted in token passes: one token through one predictive sample is 1, a training token 3.
pub trait Progress: Sync {
    /// `work` more units of work are known to lie ahead.
    fn expect(&self, work: u64);
    /// `work` units are done.
    fn advance(&self, work: u64);
    /// What is being done now.
    fn stage(&self, what: &str);
    /// Something worth keeping on the screen.
    fn note(&self, what: &str);
    /// Something that the next of its kind replaces, several times a second: for a screen that someone watches, and for nothing else.
    fn passing(&self, _what: &str) {}
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn expect(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn stage(&self, _: &str) {}
    fn note(&self, _: &str) {}
}
