//! Cases that the model does not reach: retention, budgets, fairness, deletion and return of an integration.
