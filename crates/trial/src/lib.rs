//! The whole database on trial: workloads and verdicts in simulation
