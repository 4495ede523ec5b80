"""The supervised contrastive loss, exactly, on one process or many."""
