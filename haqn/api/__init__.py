"""The Neutron v2.0 API over the rules of `haqn.db`. The only importer of falcon."""
