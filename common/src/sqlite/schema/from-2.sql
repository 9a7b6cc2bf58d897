-- Batches that older Hauls have made are counted once.
INSERT INTO batches
SELECT batch, min(created), sum(state = 'blocked'), sum(state = 'scheduled'), sum(state = 'queued'),
    sum(state = 'running'), sum(state = 'retrying'), sum(state = 'succeeded'), sum(state = 'dead'),
    sum(state = 'cancelled')
FROM jobs WHERE batch IS NOT NULL GROUP BY batch;
