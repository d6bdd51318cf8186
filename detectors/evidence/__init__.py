"""Evidence that keeps a budget of false alarms: e-detectors, confidence sequences, pages and tickets."""
