"""Ray Data graphs: stages from the rooms below, wired with resources, batches and pools."""
