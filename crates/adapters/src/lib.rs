//! LoRA posteriors, dropout sites, counter-based noise, exact moments, PEFT files.
