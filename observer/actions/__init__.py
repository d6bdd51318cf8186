"""What is done about findings: decided by policy, approved by people, recorded before it is sent."""
