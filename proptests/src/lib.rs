//! Laws that must hold for all inputs.

#[cfg(test)]
mod adapter_laws;
#[cfg(test)]
mod house;
#[cfg(test)]
mod metrics_laws;
#[cfg(test)]
mod noise_laws;
#[cfg(test)]
mod theory_laws;
