from unet_deploy.cli import main

main()
