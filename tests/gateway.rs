//! The whole system on real servers. One binary, so that it is linked once; the modules are named after what fails.

#[expect(dead_code, reason = "not every part of the support has its suite yet")]
mod support;
mod topology;
