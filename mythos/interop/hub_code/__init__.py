"""Modelling code that exported recurrent models carry along. Read as text by `hf_recurrent`, imported by transformers alone."""
