"""Schemas of an existing application, registered as tenants, and the end of such a registration."""

from tenantkit.adoption.adopting import adopt
from tenantkit.adoption.releasing import release
from tenantkit.adoption.report import AdoptedSchema, Adoption

__all__ = ["AdoptedSchema", "Adoption", "adopt", "release"]
