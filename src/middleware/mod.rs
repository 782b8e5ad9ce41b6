//! The stack every request passes, in order.
