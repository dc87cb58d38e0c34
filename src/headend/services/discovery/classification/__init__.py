"""What a fingerprint says about maker, model and meter file: identifiers, rules of meter files, and a statistical model."""
