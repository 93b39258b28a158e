using 'main.bicep'

// A fleet: four accounts of state, a private network, keys in hardware, years of verdicts.
param name = readEnvironmentVariable('KEYLIME_NAME', 'keylime')
param operatorToken = readEnvironmentVariable('KEYLIME_OPERATOR_TOKEN') // keylime token prepare prints it
param entraTenant = readEnvironmentVariable('KEYLIME_SERVICE_ENTRA_TENANT', '') // infra/entra-app prints these three
param entraAudience = readEnvironmentVariable('KEYLIME_SERVICE_ENTRA_AUDIENCE', '')
param entraClient = readEnvironmentVariable('KEYLIME_SERVICE_ENTRA_CLIENT', '')
param stateAccounts = 4
param stateSku = 'Standard_GZRS'
param instanceMemoryMB = 2048
param maximumInstances = 200
param alwaysReadyInstances = 2
param perInstanceConcurrency = 16
param vaultSku = 'premium'
param privateNetwork = true
param keepVerdictsDays = 1095
param keepEventsDays = 1095
param logRetentionDays = 365
param loggedState = ['StorageDelete'] // what is read and written there the service tells itself, and a fleet would fill the workspace
param traceRatio = '0.001' // of a large fleet that is plenty; metrics count everything
param alertEmails = [readEnvironmentVariable('KEYLIME_ALERT_EMAIL')]
