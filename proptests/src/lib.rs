//! Laws that must hold for all inputs.
