"""Previews: the plan and the scripts of a migration, without the migration."""
