"""The bundled PostgreSQL server: binaries, supervisor, provisioning, backup. Knows the kit only."""
