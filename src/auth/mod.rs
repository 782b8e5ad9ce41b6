//! Who is asking: JWT verification.
