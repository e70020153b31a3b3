"""haqn: an HA-first network service that speaks the Neutron v2.0 API. DESIGN.md says how it works."""
