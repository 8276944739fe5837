//! The lock on the engine, and the requests to its holder.
