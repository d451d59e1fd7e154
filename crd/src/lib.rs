//! The ConureCluster resource: types, defaults and validation rules.
