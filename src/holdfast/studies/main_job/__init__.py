"""The main job: train, attack, explain, score and compare four treatments of one network on one data set."""
