//! Actions of the core turned into calls on the traits, with deadlines and retries.
