//! The CPU engine: rayon over parts and blocks, branch-free scans that the compiler vectorises.
