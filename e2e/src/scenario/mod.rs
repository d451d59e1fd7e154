//! The steps of the end-to-end tests, in the order in which they run on one cluster.
