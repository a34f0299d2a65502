"""KMS over moto's keys: found by any of their names, and asked for where S3 seals an object with one."""
