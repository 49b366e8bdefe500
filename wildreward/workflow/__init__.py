"""One run of several stages: what each reads, which are done, and the manifest that says so."""
