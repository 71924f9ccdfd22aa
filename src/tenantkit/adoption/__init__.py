"""Adoption of existing applications: their schemas, or the tables of a single tenant, become tenants."""

from tenantkit.adoption.adopting import adopt
from tenantkit.adoption.moving import adopt_tables
from tenantkit.adoption.proposal import Proposal, propose
from tenantkit.adoption.releasing import release
from tenantkit.adoption.report import AdoptedSchema, Adoption, TableAdoption

__all__ = ["AdoptedSchema", "Adoption", "Proposal", "TableAdoption", "adopt", "adopt_tables", "propose", "release"]
