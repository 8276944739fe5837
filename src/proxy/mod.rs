//! The embedded load balancer.
