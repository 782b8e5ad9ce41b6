//! The public listener towards the internet: TLS, renewed certificates, floods.

mod floods;
mod frames;
mod kit;
mod renewal;
mod rests;
mod tls;
