//! ws on a real cluster: the lab with its enforcer on, and ws installed from the chart.
//!
//! Each test has a namespace of its own; a failing one prints the pods, events and logs of it.

mod admission;
mod agents;
mod audited;
mod authority;
mod bodies;
mod budgets;
mod channels;
mod classes;
mod delivery;
mod egress;
mod errors;
mod http2;
mod inside;
mod lateral;
mod lifecycle;
mod lockfiles;
mod metadata;
mod misuse;
mod model_server;
mod names;
mod orphans;
mod own_model;
mod passthrough;
mod pod;
mod policy;
mod programs;
mod providers;
mod redirects;
mod registries;
mod results;
mod servers;
mod smuggling;
mod spellings;
mod spending;
mod ssh;
mod toolchains;
mod upload;
mod upstream_http2;
mod upstream_tls;
mod way_out;
mod web_sockets;
