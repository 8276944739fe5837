//! The Docker client that the engine, the pointer and the probes share: connecting, negotiating, classifying errors.
