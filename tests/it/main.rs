//! Integration tests, in one binary because linking is dear: they drive the built program from outside.

mod architecture;
mod http;
mod served;
