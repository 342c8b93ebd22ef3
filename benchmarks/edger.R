# edgeR's quasi-likelihood test of the last column of a design: Rscript edger.R FOLDER N
suppressMessages(library(edgeR))
arguments <- commandArgs(TRUE)
for (i in seq_len(as.integer(arguments[2])) - 1) {
  counts <- as.matrix(read.csv(sprintf("%s/counts%d.csv", arguments[1], i), header = FALSE))
  design <- as.matrix(read.csv(sprintf("%s/design%d.csv", arguments[1], i), header = FALSE))
  dge <- estimateDisp(calcNormFactors(DGEList(t(counts))), design)
  p <- glmQLFTest(glmQLFit(dge, design), coef = ncol(design))$table$PValue
  write.table(p, sprintf("%s/p%d.csv", arguments[1], i), row.names = FALSE, col.names = FALSE)
}
