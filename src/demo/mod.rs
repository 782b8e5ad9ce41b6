//! Three regions on one machine.
