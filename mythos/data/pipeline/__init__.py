"""From units of sources to shards: every stage in parts, each whole on disk or not there, so that any end is a pause.

    plan       what is to be done, cut into blocks of units, and the key of the result
    read       blocks → text parts: read, cleaned, signed                     (several processes)
    select     duplicates over all blocks, held-out documents, weights
    learn      the tokenizer, trained on training documents or taken from elsewhere
    encode     text parts → token parts                                       (several processes)
    assemble   token parts → shards, index, meta.json

What a stage needs of the one before lies in the work folder, never in memory: a few dozen bytes a document are kept.
The result does not depend on how many processes there were, nor on how often the work was interrupted.
"""
