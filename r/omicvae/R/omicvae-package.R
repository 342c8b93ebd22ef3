#' omicvae: conditional variational autoencoders that tell whether their latent space is alive
#'
#' [cvae()] fits a model of cells or samples, [diagnose()] says whether its latent space is alive, and further verbs use
#' it: [latent()], [rescue()], [normalized_expression()], [counterfactual()], [effects()], [map_query()], [generate()],
#' [stability()], [report()]. The computation is done by the Python package omicvae: [omicvae_install()].
#'
#' @importClassesFrom Matrix dgCMatrix sparseMatrix
#' @keywords internal
"_PACKAGE"
