//! Traces as a collector receives them from real gateways.

mod collector;
mod environment;
mod exemplars;
mod fleet;
mod kit;
mod sampling;
mod sql;
mod storage;
mod tls;
mod upstream;
