//! What is known about every node: fences, samples, condition.
