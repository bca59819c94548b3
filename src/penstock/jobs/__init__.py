"""Jobs: a pipeline over seeds, which makes each record once however often it is interrupted."""
