//! The whole system on real servers. One binary, so that it is linked once; the modules are named after what fails.

mod support;
mod topology;
