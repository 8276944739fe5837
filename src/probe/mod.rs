//! Checks that an environment is fit to serve.
