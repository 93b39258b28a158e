using 'main.bicep'

// One machine or a few, to try it: no network of its own, nothing kept ready.
param name = readEnvironmentVariable('KEYLIME_NAME', 'keylimedev')
param operatorToken = readEnvironmentVariable('KEYLIME_OPERATOR_TOKEN') // keylime token prepare prints it
param entraTenant = readEnvironmentVariable('KEYLIME_SERVICE_ENTRA_TENANT', '') // infra/entra-app prints these three
param entraAudience = readEnvironmentVariable('KEYLIME_SERVICE_ENTRA_AUDIENCE', '')
param entraClient = readEnvironmentVariable('KEYLIME_SERVICE_ENTRA_CLIENT', '')
param stateSku = 'Standard_LRS'
param instanceMemoryMB = 512
param maximumInstances = 40
param alwaysReadyInstances = 0
param perInstanceConcurrency = 4
param privateNetwork = false
param serviceMayRotate = true
param logRetentionDays = 30
param softDeleteDays = 7
