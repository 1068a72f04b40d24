"""A perceptual study: people label photos and reconstructions, one picture at a time; what they see in them, compared.

Source: EMOCA (Danecek et al., CVPR 2022), supplementary, section 5.
"""
