"""The classifiers that LeNet-5 was compared with in 1998, from parts of scikit-learn, tracked as networks are."""

from cnnlab.classics.classifiers import KNN, SVM, Classic, Fitted, Linear, PairwiseLinear, PCAQuadratic, RBFNetwork

__all__ = ["KNN", "SVM", "Classic", "Fitted", "Linear", "PCAQuadratic", "PairwiseLinear", "RBFNetwork"]
